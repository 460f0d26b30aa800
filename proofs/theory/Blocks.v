(** The step [ByBlock]: skip + c A^T sigma(A skip + b) has the constant that [block_constant] computes. *)

From Coq Require Import Arith ZArith QArith Qreals List Bool Lia Reals Lra Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Residual Activations Maps Norms Certificate Runs Bounds.
Import ListNotations.
Open Scope R_scope.

Local Notation norm := Vectors.norm.

Section TwoRuns.
  Variables (I : interpretation) (g : graph) (begin : nat) (env env' : nat -> vec).
  Hypothesis first_run : run I g begin env.
  Hypothesis second_run : run I g begin env'.

  Local Notation diff := (difference env env').
  Let diff_linear := diff_linear I g begin env env' first_run second_run.
  Let diff_pointwise := diff_pointwise I g begin env env' first_run second_run.
  Let without_scalars_correct := without_scalars_correct I g begin env env' first_run second_run.
  Let size_made := size_made g.

  (** ** Residual blocks *)
  Lemma block_sound pairs n skip branch plus k :
    (forall p, In p pairs -> adjoint_holds g (fst p) (snd p) = true) -> norm_holds g n = true ->
    block_constant g pairs begin n skip branch plus = Some k -> size g branch = size g skip ->
    0 <= Q2R k /\
    norm (size g skip) (vplus (diff skip) (vscal (if plus then 1 else -1) (diff branch)))
    <= Q2R k * norm (size g skip) (diff skip).
  Proof.
    intros adjoints holds found sizes. unfold block_constant in found.
    destruct (without_scalars 8 g begin branch) as [c o] eqn:path.
    destruct (node_at g o) as [[outer_map outer_reads]|] eqn:at_o; [|discriminate].
    destruct outer_map as [outer| | |]; try discriminate. destruct outer_reads as [|a [|]]; try discriminate.
    destruct (without_scalars 8 g begin a) as [d p] eqn:path'.
    destruct (node_at g p) as [[p_map p_reads]|] eqn:at_p; [|discriminate].
    destruct p_map as [|sigma low high m| |]; try discriminate. destruct p_reads as [|q [|]]; try discriminate.
    destruct (node_at g (value n)) as [[q_map q_reads]|] eqn:at_q; [|discriminate].
    destruct q_map as [inner| | |]; try discriminate. destruct q_reads as [|r [|]]; try discriminate.
    destruct (shown_by n) as [e|] eqn:shown; [|discriminate].
    match type of found with (if ?test then _ else _) = _ => destruct test eqn:all end; [|discriminate].
    repeat (apply andb_prop in all as [all ?]).
    repeat match goal with H : negb _ = true |- _ => apply negb_true_iff, Nat.eqb_neq in H end.
    repeat match goal with H : (_ =? _) = true |- _ => apply Nat.eqb_eq in H end.
    injection found as found. subst q r m.
    unfold norm_holds in holds. rewrite at_q, shown in holds. apply proves_sound in holds.
    match goal with H : is_pair _ _ _ = true |- _ => rename H into pair end.
    unfold is_pair in pair. apply existsb_exists in pair as ([o' q'] & inside & same).
    apply andb_prop in same as [same_o same_q]. cbn in same_o, same_q. apply Nat.eqb_eq in same_o, same_q. subst o' q'.
    apply adjoints in inside. cbn [fst snd] in inside. unfold adjoint_holds in inside. rewrite at_o, at_q in inside.
    apply andb_prop in inside as [inside entries_same]. apply andb_prop in inside as [inside scales].
    apply andb_prop in inside as [rows_same columns_same]. apply Nat.eqb_eq in rows_same, columns_same.
    apply Z.eqb_eq in scales.
    match goal with H : size g skip = columns inner |- _ => rename H into size_skip end.
    match goal with H : Qle_bool 0 (squared n) = true |- _ => apply Qle_zero in H; rename H into nonneg end.
    destruct (without_scalars_correct 8 branch c o path) as [size_o branch_is].
    destruct (without_scalars_correct 8 a d p path') as [size_a a_is].
    destruct (diff_pointwise p sigma low high (rows inner) (value n)) as [t slope]; try assumption.
    set (sign := if plus then 1 else -1).
    set (ratio := sign * (Q2R c * Q2R d)).
    assert (size g a = rows inner) as size_a'.
    { rewrite size_a. rewrite (size_made p _ _ at_p). reflexivity. }
    (* the difference of the two sums is what the block does to that of the skips *)
    rewrite (norm_ext _ _ (Residual.step (columns inner) (rows inner) (matrix inner) ratio t (diff skip))).
    - set (f := ((if plus then 1 # 1 else -1 # 1) * (c * d) * squared n)%Q) in *.
      assert (Q2R f = ratio * Q2R (squared n)) as value_f.
      { unfold f, ratio, sign. rewrite !Q2R_mult. f_equal. f_equal.
        destruct plus; unfold Q2R; simpl; field. }
      pose proof (lower_of_below 0 (lower_of (f * low) (f * high))) as [least0 least1].
      pose proof (lower_of_below (f * low) (f * high)) as [least2 least3].
      pose proof (upper_of_above 0 (upper_of (f * low) (f * high))) as [most0 most1].
      pose proof (upper_of_above (f * low) (f * high)) as [most2 most3].
      set (least := lower_of 0 _) in *. set (most := upper_of 0 _) in *.
      rewrite RMicromega.Q2R_0 in least0, most0. rewrite !Q2R_mult, value_f in least2, least3, most2, most3.
      pose proof (upper_of_above (1 + most) (- (1) - least)) as [k0 k1]. rewrite found in k0, k1.
      rewrite Q2R_minus, Q2R_opp, Q2R_one in k1. rewrite Q2R_plus, Q2R_one in k0.
      assert (0 <= Q2R k) as Hk by lra. split; [exact Hk|].
      apply norm_le; [exact Hk|]. rewrite size_skip.
      apply (step_bound (columns inner) (rows inner) (matrix inner) ratio t (Q2R (squared n)) (Q2R low) (Q2R high)
        (Q2R least) (Q2R most)).
      + exact holds.
      + exact nonneg.
      + intros i below. apply slope. exact below.
      + lra.
      + replace (ratio * Q2R low * Q2R (squared n)) with (ratio * Q2R (squared n) * Q2R low) by ring. lra.
      + replace (ratio * Q2R high * Q2R (squared n)) with (ratio * Q2R (squared n) * Q2R high) by ring. lra.
      + apply Rabs_le. lra.
      + apply Rabs_le. lra.
    - intros i below. unfold Residual.step, vplus, vscal. f_equal.
      rewrite branch_is by (rewrite sizes; exact below).
      assert (i < rows outer)%nat as inside_o by (rewrite rows_same, <- size_skip; exact below).
      rewrite (diff_linear o outer a i at_o) by assumption.
      assert (apply (columns outer) (matrix outer) (diff a) i
        = Q2R d * apply (rows inner) (transpose (matrix inner))
            (fun j => t j * apply (columns inner) (matrix inner) (diff skip) j) i) as ->.
      { unfold apply at 1 2, dot. rewrite columns_same, <- sum_scal. apply sum_ext; intros j inside_j.
        rewrite a_is by (rewrite size_a'; exact inside_j). destruct (slope j inside_j) as [_ ->].
        rewrite (diff_linear (value n) inner skip j at_q) by assumption.
        unfold transpose, matrix. rewrite scales.
        apply (all_below_each _ _ j) in entries_same; [|exact inside_j]. cbv beta in entries_same.
        apply (all_below_each _ _ i) in entries_same; [|rewrite <- rows_same; exact inside_o].
        cbv beta in entries_same. apply Z.eqb_eq in entries_same. rewrite entries_same. ring. }
      unfold ratio. ring.
  Qed.
End TwoRuns.
